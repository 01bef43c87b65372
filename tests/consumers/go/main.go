// Env files and YAML as Go programs read them. Takes the reader's name; in: a JSON list of files in Base64;
// out: a list of what they say, null for a file that was rejected.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/docker/cli/pkg/kvfile"
	"github.com/joho/godotenv"
	yaml "gopkg.in/yaml.v3"
	sigs "sigs.k8s.io/yaml"
)

type reader func(file []byte) (any, error)

var readers = map[string]reader{
	"godotenv": func(file []byte) (any, error) { return encoded(godotenv.Parse(bytes.NewReader(file))) },
	"compose": func(file []byte) (any, error) {
		// An expansion that happens must show.
		expanded := func(name string) (string, bool) { return "expanded", true }
		return encoded(dotenv.ParseWithLookup(bytes.NewReader(file), expanded))
	},
	"docker": func(file []byte) (any, error) {
		lines, err := kvfile.ParseFromReader(bytes.NewReader(file), nil)
		found := map[string]string{}
		for _, line := range lines {
			name, value, _ := strings.Cut(line, "=")
			found[name] = value
		}
		return encoded(found, err)
	},
	"yaml.v3": func(file []byte) (any, error) {
		var found any
		err := yaml.Unmarshal(file, &found)
		return found, err
	},
	"sigs": func(file []byte) (any, error) {
		var found any
		err := sigs.Unmarshal(file, &found)
		return found, err
	},
}

// Values need not be UTF-8.
func encoded(found map[string]string, err error) (any, error) {
	for name, value := range found {
		found[name] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	return found, err
}

func answer(read reader, file []byte) (found any) {
	defer func() {
		if recover() != nil {
			found = nil
		}
	}()
	found, err := read(file)
	if err != nil {
		return nil
	}
	if _, err := json.Marshal(found); err != nil {
		return fmt.Sprintf("not to be told in JSON: %v", err)
	}
	return found
}

func main() {
	read, known := readers[os.Args[1]]
	if !known {
		log.Fatalf("no reader %s", os.Args[1])
	}
	var files [][]byte
	if err := json.NewDecoder(os.Stdin).Decode(&files); err != nil {
		log.Fatal(err)
	}
	answers := make([]any, len(files))
	for place, file := range files {
		answers[place] = answer(read, file)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}
