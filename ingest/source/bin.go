package source

import (
	"context"

	"facepipe/internal/imgcodec"
	"facepipe/internal/verifybin"
)

// verificationBin is a .bin file like insightface's verification sets. An image's key is its
// number in six digits. There are no identities.
type verificationBin struct{ file *verifybin.File }

var binKind = kind{
	name:     "bin",
	argument: "FILE",
	about: `a verification pickle of images and pair flags, such as lfw.bin;
keys are the images' numbers, 000000 onwards; no identities`,
	open:         openBin,
	numberedKeys: true,
}

func openBin(ctx context.Context, path string) (Source, error) {
	file, err := verifybin.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return &verificationBin{file}, nil
}

func (b *verificationBin) Digest() string { return b.file.Digest }
func (b *verificationBin) Close() error   { return b.file.Close() }

func (b *verificationBin) Walk(ctx context.Context, visit func(Item) error) error {
	for i := range b.file.Images() {
		if err := ctx.Err(); err != nil {
			return err
		}
		item := Item{Key: verifybin.Key(i), Read: func(admit imgcodec.Admit) ([]byte, error) { return b.file.Read(i, admit) }}
		if err := visit(item); err != nil {
			return err
		}
	}
	return nil
}

// Pairs lists the pairs in the order of the file.
func (b *verificationBin) Pairs(ctx context.Context, visit func(a, b string, same bool) error) error {
	for k, same := range b.file.Same {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := visit(verifybin.Key(2*k), verifybin.Key(2*k+1), same); err != nil {
			return err
		}
	}
	return nil
}
