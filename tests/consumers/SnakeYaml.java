// YAML as Java reads it, any object included. In as in python_dotenv.py; out: what each document holds.
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.Constructor;

class SnakeYaml {
    public static void main(String[] arguments) throws Exception {
        LoaderOptions options = new LoaderOptions();
        options.setTagInspector(tag -> true);
        Matcher files = Pattern.compile("\"([^\"]*)\"").matcher(new String(System.in.readAllBytes()));
        StringBuilder answers = new StringBuilder("[");
        while (files.find()) {
            byte[] file = Base64.getDecoder().decode(files.group(1));
            answers.append(answers.length() > 1 ? "," : "");
            answers.append(read(new Yaml(new Constructor(options)), new String(file, StandardCharsets.UTF_8)));
        }
        System.out.write(answers.append("]").toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    static String read(Yaml yaml, String file) {
        try {
            return json(yaml.load(file));
        } catch (RuntimeException | Error error) {
            return "null";
        }
    }

    static String json(Object found) {
        if (found instanceof Map<?, ?> map) {
            return map.entrySet().stream()
                .map(entry -> json(key(entry.getKey())) + ":" + json(entry.getValue()))
                .collect(Collectors.joining(",", "{", "}"));
        }
        if (found instanceof List<?> list) {
            return list.stream().map(SnakeYaml::json).collect(Collectors.joining(",", "[", "]"));
        }
        return found instanceof String text ? quoted(text) : String.valueOf(found);
    }

    /** A key that is no text must not pass for one. */
    static String key(Object key) {
        return key instanceof String text ? text : "not a text: " + key;
    }

    static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        text.chars().forEach(c -> quoted.append(
            c < ' ' || c > '~' || c == '"' || c == '\\' ? String.format("\\u%04x", c) : String.valueOf((char) c)));
        return quoted.append('"').toString();
    }
}
