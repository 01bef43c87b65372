// A service as they are: reads its config when it is told to, and logs in. Also maps the file.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
)

var maps [][]byte

func login(config, url string) (int, error) {
	text, err := os.ReadFile(config)
	if err != nil {
		return 0, err
	}
	var parsed struct {
		Database struct{ Username, Password string }
	}
	if err := json.Unmarshal(text, &parsed); err != nil {
		return 0, err
	}
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return 0, err
	}
	request.SetBasicAuth(parsed.Database.Username, parsed.Database.Password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}

// What golang.org/x/exp/mmap does.
func mapFile(config string) (int, error) {
	file, err := os.Open(config)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	bytes, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	maps = append(maps, bytes)
	return len(maps) - 1, err
}

func tell(what any, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(what)
}

func main() {
	config, url := os.Args[1], os.Args[2]
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		command := strings.Fields(lines.Text())
		switch command[0] {
		case "login":
			status, err := login(config, url)
			tell(status, err)
		case "map":
			index, err := mapFile(config)
			tell(index, err)
		default:
			index, err := strconv.Atoi(command[1])
			tell(hex.EncodeToString(maps[index]), err)
		}
	}
}
