package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"facepipe/bench/measure"
	"facepipe/ingest/detect"
	"facepipe/internal/imgcodec"
	"facepipe/internal/synthface"
)

// Photographs are drawn: as large as LFW's, and aligned crops of the same faces.
const (
	photoSize      = 250
	photosAnPerson = 20
	seed           = 1
	alignedQuality = 95
)

// makePhotos draws the photographs, unless they are there.
func makePhotos(s settings) error {
	people := (s.photos + photosAnPerson - 1) / photosAnPerson
	_, err := synthface.WriteFolder(context.Background(), filepath.Join(s.dir, "photos"), synthface.FolderOptions{
		Identities: people, PerIdentity: photosAnPerson, Size: photoSize, Seed: seed, Hard: synthface.DefaultHard,
	})
	if err != nil {
		return err
	}
	generator := synthface.New(seed)
	var drawers errgroup.Group
	drawers.SetLimit(runtime.GOMAXPROCS(0))
	for i := range people {
		drawers.Go(func() error {
			for j := range photosAnPerson {
				if err := makeAligned(generator, filepath.Join(s.dir, "aligned", synthface.Key(i, j)), i, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return drawers.Wait()
}

func makeAligned(g *synthface.Generator, path string, i, j int) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	crop, _ := g.Aligned(i, j, synthface.DefaultHard)
	img := image.NewRGBA(image.Rect(0, 0, crop.W, crop.H))
	for p := range crop.W * crop.H {
		copy(img.Pix[4*p:], crop.Pix[3*p:3*p+3])
		img.Pix[4*p+3] = 255
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: alignedQuality}); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// each calls use with every photograph below a folder, on all threads.
func each(s settings, folder string, use func(data []byte) error) (measure.Result, error) {
	begun := time.Now()
	paths := make(chan string, s.threads)
	var workers errgroup.Group
	for range s.threads {
		workers.Go(func() error {
			var failed error
			for path := range paths {
				data, err := os.ReadFile(path)
				if err == nil {
					err = use(data)
				}
				if err != nil && failed == nil {
					failed = fmt.Errorf("%s: %w", path, err)
				}
			}
			return failed
		})
	}
	n := 0
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".jpg") {
			paths <- path
			n++
		}
		return err
	})
	close(paths)
	if failed := workers.Wait(); err == nil {
		err = failed
	}
	return measure.Result{Seconds: time.Since(begun).Seconds(), Operations: n}, err
}

// hash only reads and hashes the files of a folder: what no ingest can do without.
func hash(folder string) func(settings) (measure.Result, error) {
	return func(s settings) (measure.Result, error) {
		return each(s, filepath.Join(s.dir, folder), func(data []byte) error {
			sum := sha256.Sum256(data)
			runtime.KeepAlive(sum)
			return nil
		})
	}
}

// detectAll runs the detector alone, on photographs that are decoded already.
func detectAll(s settings) (measure.Result, error) {
	spec, err := detect.ParseSpec(s.detector)
	if err != nil {
		return measure.Result{}, err
	}
	var photos []*imgcodec.Image
	_, err = each(settings{threads: 1}, filepath.Join(s.dir, "photos", "images"), func(data []byte) error {
		img, _, err := imgcodec.Decode(data, imgcodec.Limits{})
		photos = append(photos, img)
		return err
	})
	if err != nil {
		return measure.Result{}, err
	}
	d, err := detect.Open(spec, detect.Options{Library: s.runtime})
	if err != nil {
		return measure.Result{}, err
	}
	defer d.Close()
	if _, err := d.Detect(photos[0]); err != nil { // plans its memory
		return measure.Result{}, err
	}
	begun := time.Now()
	var workers errgroup.Group
	for t := range s.threads {
		workers.Go(func() error {
			for i := t; i < len(photos); i += s.threads {
				if _, err := d.Detect(photos[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = workers.Wait()
	return measure.Result{Seconds: time.Since(begun).Seconds(), Operations: len(photos)}, err
}
