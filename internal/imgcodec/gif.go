package imgcodec

import "bytes"

// inspectGIF only chooses the words of a refusal: GIF is not decoded. The looping
// extension is what every writer of animations puts in.
func inspectGIF(data []byte) error {
	if bytes.Contains(data, []byte("NETSCAPE2.0")) {
		return refusal(ErrAnimated, GIF, "has several frames")
	}
	return refusal(ErrUnsupported, GIF, "is not decoded, convert it to JPEG or PNG")
}
