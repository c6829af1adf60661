package imgcodec

import "bytes"

// inspectGIF chooses the words of the refusal, as GIF is not decoded. Every writer of
// animations puts in the looping extension.
func inspectGIF(data []byte) error {
	if bytes.Contains(data, []byte("NETSCAPE2.0")) {
		return refusal(ErrAnimated, GIF, "has several frames")
	}
	return refusal(ErrUnsupported, GIF, "is not decoded, convert it to JPEG or PNG")
}
