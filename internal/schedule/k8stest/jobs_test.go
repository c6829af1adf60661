// Package k8stest decodes what is emitted for Kubernetes into its own types.
package k8stest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"
)

// Every file is an Indexed Job of workers and a Job that merges, without a field that
// batch/v1 does not know.
func TestStrict(t *testing.T) {
	files, err := filepath.Glob("../testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents := bytes.Split(data, []byte("\n---\n"))
		if len(documents) != 2 {
			t.Fatalf("%s: %d documents", file, len(documents))
		}
		var jobs [2]batchv1.Job
		for i, d := range documents {
			if err := yaml.UnmarshalStrict(d, &jobs[i]); err != nil {
				t.Fatalf("%s, document %d: %v", file, i, err)
			}
			if jobs[i].APIVersion != "batch/v1" || jobs[i].Kind != "Job" || jobs[i].Name == "" || len(jobs[i].Spec.Template.Spec.Containers) != 1 {
				t.Errorf("%s, document %d is %+v", file, i, jobs[i])
			}
		}
		workers(t, file, jobs[0].Spec)
		merge := jobs[1].Spec.Template.Spec.Containers[0]
		if merge.Command[1] != "merge" || jobs[1].Name != jobs[0].Name+"-merge" {
			t.Errorf("%s: the second job runs %q", file, merge.Command)
		}
	}
}

func workers(t *testing.T, file string, spec batchv1.JobSpec) {
	t.Helper()
	if spec.CompletionMode == nil || *spec.CompletionMode != batchv1.IndexedCompletion || spec.Completions == nil || spec.Parallelism == nil ||
		*spec.Completions != *spec.Parallelism || spec.BackoffLimitPerIndex == nil {
		t.Fatalf("%s: %+v is no Indexed Job", file, spec)
	}
	c := spec.Template.Spec.Containers[0]
	if spec.Template.Spec.RestartPolicy != "Never" || len(c.Env) != 1 || c.Env[0].Name != "PIPE_WORKERS" || c.Env[0].Value == "" {
		t.Errorf("%s: the worker is %+v", file, c)
	}
	actions := map[batchv1.PodFailurePolicyAction][]int32{}
	for _, rule := range spec.PodFailurePolicy.Rules {
		if rule.OnExitCodes == nil {
			if len(rule.OnPodConditions) != 1 || rule.OnPodConditions[0].Type != "DisruptionTarget" || rule.Action != batchv1.PodFailurePolicyActionIgnore {
				t.Errorf("%s: rule %+v", file, rule)
			}
			continue
		}
		if rule.OnExitCodes.ContainerName == nil || *rule.OnExitCodes.ContainerName != c.Name {
			t.Errorf("%s: rule %+v is of no container", file, rule)
		}
		actions[rule.Action] = append(actions[rule.Action], rule.OnExitCodes.Values...)
	}
	if len(actions[batchv1.PodFailurePolicyActionFailIndex]) != 2 || len(actions[batchv1.PodFailurePolicyActionIgnore]) != 1 {
		t.Errorf("%s: exit codes %v", file, actions)
	}
}
