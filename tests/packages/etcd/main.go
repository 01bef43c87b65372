// The real etcd, as its own project starts it, of a version that the API server takes all of its features from.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
