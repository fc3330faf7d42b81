// Command resolve asks Go's own resolver, as programs that were built without cgo do: `resolve host|srv|addr NAME ...` prints one line for
// each name with what it found, sorted, or the reason why there is nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
	"time"
)

func main() {
	resolver := &net.Resolver{PreferGo: true}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, name := range os.Args[2:] {
		found, err := asked(ctx, resolver, os.Args[1], name)
		var failure *net.DNSError
		switch {
		case errors.As(err, &failure) && failure.IsNotFound:
			found = []string{"not", "found"}
		case err != nil:
			found = []string{"failed:", err.Error()}
		default:
			sort.Strings(found)
		}
		fmt.Println(strings.Join(found, " "))
	}
}

func asked(ctx context.Context, resolver *net.Resolver, what, name string) (found []string, err error) {
	switch what {
	case "host":
		return resolver.LookupHost(ctx, name)
	case "addr":
		return resolver.LookupAddr(ctx, name)
	case "srv":
		_, records, err := resolver.LookupSRV(ctx, "", "", name)
		for _, one := range records {
			found = append(found, fmt.Sprintf("%s:%d", one.Target, one.Port))
		}
		return found, err
	}
	return nil, fmt.Errorf("unknown question %q: host, srv or addr", what)
}
