// Command etcd is the store of the control plane that the tests run: a release that can stream lists, as clusters of today have it, which
// distributions' packages often cannot.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
