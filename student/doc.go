// Package student trains a small face network against cached teacher embeddings
// and exports it as ONNX.
//
// [Distill] is the whole run: a loader (student/data) reads crops and targets, a
// network (student/net) embeds them, a loss (student/loss) compares, an optimizer
// (student/optim) moves the weights; all tensors live in the training engine
// (student/torch). A run is a folder:
//
//	RUN/
//	  run.json               what is trained on what, and how: fixed at the start
//	  metrics.jsonl          one line a logged step, one a validation
//	  checkpoints/           the newest ones, safetensors
//	  student.onnx           the result
//	  summary.json           the run in numbers, written last
//
// Every random choice follows from the seed and the step, and a checkpoint holds
// all that a step depends on, so a run that was killed and resumed takes the same
// steps as one that was not.
package student
