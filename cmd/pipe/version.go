package main

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/release"
)

// version is the program's.
const version = release.Version

type versionOptions struct{}

// versionInfo is the summary of pipe version.
type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (o *versionOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program",
		Long:  "Version prints what this program is.",
	}
}

func (o *versionOptions) addFlags(*pflag.FlagSet) {}

func (o *versionOptions) validate(args []string) error { return noArguments(args) }

func (o *versionOptions) run(context.Context, *session) (*result, error) {
	info := versionInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	return &result{info, func(w io.Writer) {
		fmt.Fprintf(w, "pipe %s (%s, %s)\n", info.Version, info.Go, info.Platform)
	}}, nil
}
