package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"facepipe/eval"
	"facepipe/internal/embed"
	"facepipe/internal/regular"
	"facepipe/store/cache"
	"facepipe/teacher"
)

// fillCaches embeds the whole dataset with each model, where a protocol needs that, into caches
// of the dataset, and has the models measured by these. What a cache holds already, of another
// protocol or of a run that was stopped, is not computed again.
func (o *evalOptions) fillCaches(ctx context.Context) error {
	if o.Dataset == "" || !slices.ContainsFunc(o.Tests, func(t eval.Test) bool { return t.Protocol.WholeSet }) {
		return nil
	}
	o.Cached = map[string]string{}
	for _, model := range o.Models {
		name, err := o.cacheName(model)
		if err != nil {
			return err
		}
		_, err = teacher.Precompute(ctx, teacher.Options{
			Dataset: o.Dataset, Model: model, Name: name, Preprocess: o.Preprocess, Output: o.Output, Flip: o.Flip, DType: cache.FP32,
			Batch: o.Batch, Runtime: o.Runtime, NoSelfTest: o.NoSelfTest, AllowWeakTeacher: true, MaxRejectRate: 1, Version: version, Progress: o.Progress,
		})
		if err != nil {
			return fmt.Errorf("embed %s with %s: %w", o.Dataset, model, err)
		}
		o.Cached[model] = name
	}
	return nil
}

// cacheName is the name of the cache of a model under the options: by its digest and by what
// else decides its embeddings.
func (o *evalOptions) cacheName(model string) (string, error) {
	digest, err := embed.Digest(model)
	if err != nil {
		return "", err
	}
	preprocess := o.Preprocess
	if text, err := regular.Read(preprocess, embed.MaxPreprocess); err == nil { // a file's contents count, not its name
		preprocess = string(text)
	}
	settings := fmt.Appendf(nil, "%s\x00%s\x00%s\x00%v\x00%v", digest, preprocess, o.Output, o.Flip, o.Runtime.Half)
	if o.Runtime.TF32 { // which names of before there was a choice do not have
		settings = append(settings, "\x00tf32"...)
	}
	sum := sha256.Sum256(settings)
	return "eval-" + hex.EncodeToString(sum[:8]), nil
}
