// Command faces draws a folder of generated people, with landmarks and verification
// pairs: the material that testdata/teacher.sh trains the bundled teacher on.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"facepipe/internal/synthface"
)

func main() {
	var o synthface.FolderOptions
	out := flag.String("out", "", "folder to write")
	flag.IntVar(&o.Identities, "identities", 100, "number of people")
	flag.IntVar(&o.PerIdentity, "per-identity", 10, "photographs of each")
	flag.IntVar(&o.FirstIdentity, "first", 0, "number of the first person")
	flag.Uint64Var(&o.Seed, "seed", 1, "seed of the people")
	flag.Float64Var(&o.Hard, "hard", synthface.DefaultHard, "difficulty, 0 to 2")
	flag.Parse()
	if *out == "" {
		flag.Usage()
		os.Exit(2)
	}
	if _, err := synthface.WriteFolder(context.Background(), *out, o); err != nil {
		fmt.Fprintln(os.Stderr, "faces:", err)
		os.Exit(1)
	}
}
