package index

// What tests of this folder look at from outside.
const BuiltName = builtName

var CompareIndex = compareIndex
