package ort

// platform is the folder of the pinned package for this processor.
const platform = "x64"
