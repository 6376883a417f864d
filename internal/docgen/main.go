// Command docgen writes the page about all commands to the file it is given.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/windlass-mesh/windlass/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: docgen FILE")
		os.Exit(2)
	}
	var page bytes.Buffer
	err := cli.WriteReference(&page)
	if err == nil {
		err = os.WriteFile(os.Args[1], page.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}
