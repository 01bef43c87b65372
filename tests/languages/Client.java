// A service as they are: reads its config when it is told to, and logs in. Also maps the file.
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.HttpURLConnection;
import java.net.Proxy;
import java.net.URL;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;

class Client {
    static final List<MappedByteBuffer> maps = new ArrayList<>();

    static int login(Path config, URL url) throws Exception {
        JsonObject database;
        try (var reader = Files.newBufferedReader(config)) {
            database = JsonParser.parseReader(reader).getAsJsonObject().getAsJsonObject("database");
        }
        String pair = database.get("username").getAsString() + ":" + database.get("password").getAsString();
        var connection = (HttpURLConnection) url.openConnection(Proxy.NO_PROXY);
        String encoded = Base64.getEncoder().encodeToString(pair.getBytes("UTF-8"));
        connection.setRequestProperty("Authorization", "Basic " + encoded);
        return connection.getResponseCode();
    }

    static int map(Path config) throws Exception {
        try (var channel = FileChannel.open(config)) {
            maps.add(channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size()));
        }
        return maps.size() - 1;
    }

    static String bytes(int index) {
        var bytes = new byte[maps.get(index).capacity()];
        maps.get(index).get(0, bytes);
        return HexFormat.of().formatHex(bytes);
    }

    public static void main(String[] arguments) throws Exception {
        var config = Path.of(arguments[0]);
        var url = new URL(arguments[1]);
        var commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = commands.readLine()) != null; ) {
            String[] command = line.split(" ");
            switch (command[0]) {
                case "login" -> System.out.println(login(config, url));
                case "map" -> System.out.println(map(config));
                default -> System.out.println(bytes(Integer.parseInt(command[1])));
            }
        }
    }
}
