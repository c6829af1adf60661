package source

import (
	"io"
	"strings"

	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
)

func isRegular(path string) bool {
	_, err := regular.Stat(path)
	return err == nil
}

// readFile reads a file that is to be a photograph.
func readFile(path string, admit imgcodec.Admit) ([]byte, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, regular.Reason(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, regular.Reason(err)
	}
	data, err := imgcodec.Read(file, 0, info.Size(), admit)
	return data, regular.Reason(err)
}

// startsLikeImage says whether a file begins like an image of a known format.
func startsLikeImage(path string) bool {
	file, err := regular.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, imgcodec.SniffLen)
	n, _ := io.ReadFull(file, head)
	return imgcodec.Sniff(head[:n]) != imgcodec.Unknown
}

// photoEndings are what the names of photographs end in, as far as lists leave it out.
var photoEndings = []string{".jpg", ".jpeg", ".png", ".webp", ".bmp", ".pgm", ".ppm", ".JPG", ".JPEG", ".PNG"}

// withoutEnding is the name of a photograph as lists write it that leave the ending out.
func withoutEnding(name string) (stem string, ok bool) {
	for _, ending := range photoEndings {
		if stem, ok := strings.CutSuffix(name, ending); ok && stem != "" && !strings.HasSuffix(stem, "/") {
			return stem, true
		}
	}
	return "", false
}
