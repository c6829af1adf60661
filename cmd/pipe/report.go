package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/durable"
	"facepipe/internal/plain"
	"facepipe/page"
	"facepipe/teacher/compare"
)

type reportOptions struct {
	what  []string
	out   string
	serve string
	flags *pflag.FlagSet
}

// reportSummary says what a page is of.
type reportSummary struct {
	Page  string       `json:"page,omitempty"`
	Bytes int          `json:"bytes,omitempty"`
	Parts []reportPart `json:"parts"`
}

// reportPart is about one subject.
type reportPart struct {
	Kind     string   `json:"kind"`
	Path     string   `json:"path"`
	Answer   string   `json:"answer"`
	Warnings []string `json:"warnings"`
	Sections []string `json:"sections"`
}

// serveAnywhere is the address of --serve without one: a free port of this machine.
const serveAnywhere = "0"

func (o *reportOptions) describe() *cobra.Command {
	var kinds strings.Builder
	for _, k := range page.Kinds() {
		fmt.Fprintf(&kinds, "\n  %-8s %s", k.Name, k.Lies)
	}
	return &cobra.Command{
		Use:   "report WHAT... --out PAGE.html",
		Short: "Show an eval, a study, a run, a dataset or a cache as one page",
		Long: `Report makes one HTML page that stands alone: it answers first, has tables, curves and
faces, opens without a network and can be mailed. WHAT is found out by what lies there:
` + kinds.String() + `

Several are put on one page, evals side by side. The page holds some faces as small
pictures: mind that where the photographs are private.

With --serve nothing is written. The page is shown on this machine, made anew from the
files for every visitor, and a run that goes on is shown as it goes on.`,
		Example: `  pipe report report --out page.html
  pipe report eval-teacher eval-student --out both.html
  pipe report run faces.ds faces.ds:teacher --out all.html
  pipe report --serve run
  pipe report --serve=8080 run`,
	}
}

func (o *reportOptions) addFlags(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.out, "out", "", "`file` for the page (required, unless it is served)")
	f.StringVar(&o.serve, "serve", "", "show the page on an `address` of this machine: PORT or HOST:PORT; without one a free port")
	f.Lookup("serve").NoOptDefVal = serveAnywhere
}

func (o *reportOptions) validate(args []string) error {
	o.what = args
	if !o.flags.Changed("serve") {
		return errors.Join(o.named(), required("--out", o.out))
	}
	if o.serve == serveAnywhere && len(args) > 0 && isAddress(args[0]) { // --serve ADDRESS
		o.serve, o.what = args[0], args[1:]
	}
	_, err := page.Loopback(o.serve)
	return errors.Join(o.named(), err, misplaced(o.flags, "is for a page that is not served", "out"))
}

func (o *reportOptions) named() error {
	if len(o.what) == 0 {
		return errors.New("name the folder of an eval, a study, a run, a dataset or a cache")
	}
	return allNamed("WHAT", o.what)
}

// isAddress is whether an argument is a port or HOST:PORT, and nothing lies at it as a path.
func isAddress(text string) bool {
	if _, err := os.Stat(text); err == nil {
		return false
	}
	port := text
	if _, after, err := net.SplitHostPort(text); err == nil {
		port = after
	}
	return port != "" && strings.Trim(port, "0123456789") == ""
}

func (o *reportOptions) run(ctx context.Context, s *session) (*result, error) {
	options := page.Options{What: o.what, Command: s.given, Agreement: agreement}
	if o.flags.Changed("serve") {
		return nil, page.Serve(ctx, o.serve, options, s.stderr)
	}
	p, err := page.Make(ctx, options)
	if err != nil {
		return nil, err
	}
	html, err := p.HTML()
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(o.out, html, 0o644); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	sum := reportSummary{Page: o.out, Bytes: len(html), Parts: []reportPart{}}
	for _, part := range p.Parts {
		r := reportPart{Kind: part.Kind, Path: part.Path, Answer: part.Answer, Warnings: append([]string{}, part.Warnings...), Sections: []string{}}
		for _, section := range part.Sections {
			r.Sections = append(r.Sections, section.ID)
		}
		sum.Parts = append(sum.Parts, r)
	}
	return &result{sum, func(w io.Writer) { printReported(w, sum) }}, nil
}

func printReported(w io.Writer, sum reportSummary) {
	for _, p := range sum.Parts {
		plain.Fprintf(w, "%s %s: %s\n", p.Kind, p.Path, p.Answer)
		for _, warning := range p.Warnings {
			plain.Fprintf(w, "  warning: %s\n", warning)
		}
	}
	plain.Fprintf(w, "page in %s, %s\n", sum.Page, byteSize(int64(sum.Bytes)))
}

// agreement compares two teachers' caches for a page.
func agreement(ctx context.Context, dataset, a, b string) (page.Agreement, error) {
	r, err := compare.Run(ctx, compare.Options{Dataset: dataset, A: a, B: b})
	return page.Agreement{Pairs: r.Pairs, All: r.Spearman, Same: r.SpearmanSame, Different: r.SpearmanDifferent}, err
}
