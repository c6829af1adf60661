package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/internal/plain"
	"facepipe/store"
	"facepipe/store/info"
)

type infoOptions struct {
	dataset string
}

func (o *infoOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "info DATASET",
		Short: "Say what a dataset holds",
		Long: `Info counts a dataset's crops, identities, sources, rejects and teacher caches. It
reads manifests and what describes the crops, no image and no embedding, and changes
nothing.`,
		Example: `  pipe info faces.ds
  pipe info faces.ds --json`,
	}
}

func (o *infoOptions) addFlags(*pflag.FlagSet) {}

func (o *infoOptions) validate(args []string) error { return oneDataset(args, &o.dataset) }

func (o *infoOptions) run(ctx context.Context, _ *session) (*result, error) {
	info, err := info.Read(ctx, o.dataset)
	if info.Teachers == nil {
		return nil, err
	}
	return &result{info, func(w io.Writer) { printInfo(w, info) }}, err
}

func printInfo(w io.Writer, i info.Info) {
	plain.Fprintf(w, "%s: %d crops in %d shards, %s\n", i.Dataset, i.Rows, i.Shards, byteSize(i.CropBytes))
	plain.Fprintf(w, "  digest      %s, format version %d\n", i.Digest, i.FormatVersion)
	plain.Fprintf(w, "  contract    %dx%d pixels, template %s, warp %s, decoder %s\n",
		i.Contract.CropSize, i.Contract.CropSize, i.Contract.Template, i.Contract.Warp, i.Contract.Decoder)
	plain.Fprintf(w, "  encodings   %s\n", counts(i.Encodings))
	if i.Splits[""] < i.Rows {
		plain.Fprintf(w, "  splits      %s\n", counts(i.Splits))
	}
	plain.Fprintf(w, "  duplicates  %d\n", i.Duplicates)
	if i.UnlistedShards > 0 {
		plain.Fprintf(w, "  unfinished  %d shards of an interrupted ingest are not counted: run it again\n", i.UnlistedShards)
	}
	plain.Fprintf(w, "  index       %s, %s\n", i.Index, byteSize(i.IndexBytes))
	printIdentities(w, i.Identities)
	for n, s := range i.Sources {
		plain.Fprintf(w, "source %d: %s=%s: %d crops, %d duplicates, %d rejects\n", n, s.Kind, s.Path, s.Rows, s.Duplicates, s.Rejects)
		for _, part := range []struct{ name, value string }{
			{"digest", s.Digest}, {"detector", s.Detector}, {"model", s.DetectorDigest}, {"landmarks", s.Landmarks}, {"merged from", s.MergedFrom}, {"key prefix", s.KeyPrefix},
		} {
			if part.value != "" {
				plain.Fprintf(w, "  %-11s %s\n", part.name, part.value)
			}
		}
	}
	for _, stage := range i.Rejects {
		plain.Fprintf(w, "rejects at stage %s: %d\n", stage.Stage, stage.Count)
		for _, r := range stage.Reasons {
			plain.Fprintf(w, "  %6d  %s\n", r.Count, r.Reason)
		}
	}
	for _, t := range i.Teachers {
		printTeacher(w, t, i.Rows)
	}
}

// counts lists numbers with what they are of.
func counts(of map[string]int) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		list = append(list, fmt.Sprintf("%d %s", of[name], cmp.Or(name, "in none")))
	}
	return strings.Join(list, ", ")
}

func printIdentities(w io.Writer, i store.IdentityInfo) {
	plain.Fprintf(w, "identities: %d, with %d to %d images, median %d; %d crops have none\n", i.Count, i.Min, i.Max, i.Median, i.Nameless)
	widest := 1
	for _, bin := range i.Histogram {
		widest = max(widest, bin.Identities)
	}
	for _, bin := range i.Histogram {
		bar := strings.Repeat("#", (40*bin.Identities+widest-1)/widest)
		plain.Fprintf(w, "  %6d to %-6d %8d  %s\n", bin.From, bin.To, bin.Identities, bar)
	}
}

func printTeacher(w io.Writer, t info.Cache, rows int) {
	plain.Fprintf(w, "teacher %s: %d of %d crops, %d-d %s, mirrored too: %v, %s\n", t.Name, t.Rows, rows, t.Dim, t.DType, t.Flip, byteSize(t.Bytes))
	plain.Fprintf(w, "  model       %s, SHA-256 %s\n", t.ModelFile, t.ModelDigest)
	plain.Fprintf(w, "  fingerprint %s\n", t.Fingerprint)
	if t.Runs.Runs > 0 {
		plain.Fprintf(w, "  runs        %s\n", runsText(t.Runs))
	}
	if t.MissingShards > 0 {
		plain.Fprintf(w, "  missing     %d shards\n", t.MissingShards)
	}
	for _, table := range []struct {
		name, state string
		bytes       int64
	}{{"centres", t.Centres, t.CentresBytes}, {"neighbours", t.Neighbours, t.NeighboursBytes}, {"alignment", t.Alignment, t.AlignmentBytes}} {
		if table.state != "missing" {
			plain.Fprintf(w, "  %-11s %s, %s\n", table.name, table.state, byteSize(table.bytes))
		}
	}
	if t.Invalid > 0 {
		plain.Fprintf(w, "  unusable    %d embeddings were not finite or zero\n", t.Invalid)
	}
}

// byteSize is a number of bytes for people.
func byteSize(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/step, 0
	for value >= step && unit < 3 {
		value /= step
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[unit])
}
