// A TLS server that loads its certificate and key for each connection, and its own client. Says how
// many loads there were, and how many of them found a pair that does not match; told to, it ends with the first of those.
package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"strconv"
	"strings"
)

func main() {
	most, _ := strconv.Atoi(os.Args[3])
	endsWithFirst := os.Args[4] == "first"
	loads, mismatched := 0, 0
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(os.Args[1], os.Args[2])
		if err == nil {
			return &pair, nil
		}
		if !strings.Contains(err.Error(), "private key does not match public key") {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		mismatched++
		return nil, err
	}}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		panic(err)
	}
	for loads < most && !(endsWithFirst && mismatched > 0) {
		loads++
		done := make(chan struct{})
		go func() {
			defer close(done)
			trusting := &tls.Config{InsecureSkipVerify: true}
			if client, err := tls.Dial("tcp", listener.Addr().String(), trusting); err == nil {
				client.Close()
			}
		}()
		server, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		server.(*tls.Conn).Handshake()
		server.Close()
		<-done
	}
	fmt.Println(loads, mismatched)
}
