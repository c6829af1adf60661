package onnx

import "strings"

// kind is something that people take for a model.
type kind struct {
	at    int
	magic string
	also  string // which the file's beginning has somewhere, unless ""
	is    string
}

// kinds are told by the bytes at a place, the first that fits.
var kinds = []kind{
	{0, "PK\x03\x04", "/data.pkl", "a PyTorch file: convert it with torch.onnx.export"},
	{0, "PK\x03\x04", "config.json", "a Keras model: convert it with tf2onnx"},
	{0, "PK\x03\x04", "", "a zip archive: unpack it and name the .onnx file in it"},
	{0, "\x80", "", "a pickle, such as an old PyTorch file: convert it with torch.onnx.export"},
	{4, "ORTM", "", "a model in the runtime's own format (.ort): take the .onnx file that it was made from"},
	{4, "TFL3", "", "a TensorFlow Lite model: convert it with tf2onnx"},
	{0, "\x89HDF", "", "an HDF5 file, such as a Keras model: convert it with tf2onnx"},
	{0, "\x08\x01\x12", "\x0a\x05Const", "a saved model of TensorFlow (.pb): convert its folder with tf2onnx"},
	{0, "\x0a", "\x12\x0bPlaceholder", "a frozen graph of TensorFlow (.pb): convert it with tf2onnx"},
	{0, "\x0a", "\x12\x05Const", "a frozen graph of TensorFlow (.pb): convert it with tf2onnx"},
	{8, "{", `"data_offsets"`, "weights alone (safetensors): load them into the publisher's network and convert that with torch.onnx.export"},
	{0, "\x12\x01\x00\x00\x00\x00\x00\x00", "", "MXNet's weights (.params): convert them, with the -symbol.json beside them, with mxnet's own mx2onnx"},
	{0, "ftrt", "", tensorRT},
	{0, "ptrt", "", tensorRT},
	{0, "RKNN", "", "a model for Rockchip's processors (.rknn): take the .onnx file that it was made from"},
	{0, "\x93NUMPY", "", "an array of NumPy: name a model"},
	{0, "\x1f", "", compressed},
	{0, "BZh", "", compressed},
	{0, "\xfd7zXZ", "", compressed},
	{0, "\x28\xb5\x2f\xfd", "", compressed},
	{0, "7z\xbc\xaf", "", archive},
	{0, "Rar!", "", archive},
	{257, "ustar", "", archive},
}

// texts are told by how they begin in lower case, after blanks.
var texts = []kind{
	{0, "version https://git-lfs", "", "a pointer of Git LFS: get the model itself with `git lfs pull`, or by the site's download button"},
	{0, "<", "<html", webPage},
	{0, "<", "<!doctype", webPage},
	{0, "<", "<net ", "OpenVINO's description of a network (.xml): take the .onnx file that it was made from"},
	{0, "<", "<opencv_storage", "a file of OpenCV, such as a cascade: pipe takes SCRFD and YuNet as detectors, and embedders, in ONNX"},
	{0, "<", "<error>", "a server's message, not the file: download the model again, logged in if the site demands that"},
	{0, "<?xml", "", "an XML text: name the model itself"},
	{0, "<", "", webPage},
	{0, "{", `"op":`, "MXNet's description of a network (-symbol.json): convert it, with the .params beside it, with mxnet's own mx2onnx"},
	{0, "{", "", "a JSON text: name the model itself"},
	{0, "7767517", "", "ncnn's description of a network (.param): take the model that it was made from"},
}

const (
	tensorRT   = "an engine of TensorRT, which runs on one kind of device: take the .onnx file that it was made from"
	compressed = "a compressed file: unpack it first"
	archive    = "an archive: unpack it and name the .onnx file in it"
	webPage    = "a web page: download the model itself, logged in if the site demands that"
)

// beginning is how many bytes are looked at.
const beginning = 1 << 16

// kindOf says what bytes are that are no model; "" if they do not tell.
func kindOf(data []byte) string {
	if len(data) == 0 {
		return "an empty file"
	}
	start := string(data[:min(len(data), beginning)])
	if is := kindAmong(kinds, start); is != "" {
		return is
	}
	text := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(start, "\ufeff")))
	return kindAmong(texts, text)
}

func kindAmong(list []kind, start string) string {
	for _, k := range list {
		if len(start) > k.at && strings.HasPrefix(start[k.at:], k.magic) && strings.Contains(start, k.also) {
			return k.is
		}
	}
	return ""
}
