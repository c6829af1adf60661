package schedule

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"

	"facepipe/internal/crash"
)

//go:embed slurm.sh.tmpl
var slurmText string

//go:embed kubernetes.yaml.tmpl
var kubernetesText string

var functions = template.FuncMap{
	"shell":  ShellWords,
	"quoted": quoted,
	"list":   list,
	"logs":   logs,
	"last":   func(n int) int { return n - 1 },

	"crashed": func() int { return crash.Status },
	"crashes": func() string {
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(crash.ShellStatuses()), " ", "|"), "[]")
	},
}

var (
	slurmScript    = template.Must(template.New("slurm").Funcs(functions).Parse(slurmText))
	kubernetesJobs = template.Must(template.New("kubernetes").Funcs(functions).Parse(kubernetesText))
)

func execute(t *template.Template, j *Job) (string, error) {
	var b strings.Builder
	err := t.Execute(&b, j)
	return b.String(), err
}

// ShellWords quotes a program and its arguments for a POSIX shell.
func ShellWords(program string, args []string) string {
	words := []string{shellWord(program)}
	for _, a := range args {
		words = append(words, shellWord(a))
	}
	return strings.Join(words, " ")
}

func shellWord(s string) string {
	plain := s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") == ""
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// logs is where a plan's logs go, quoted for a shell. Slurm also fills in patterns in the
// folder's name.
func logs(plan, pattern string) string {
	return shellWord(strings.ReplaceAll(plan, "%", "%%") + "/" + pattern)
}

// quoted is a string in YAML. JSON's strings are YAML, too.
func quoted(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}

// list is a program and its arguments in YAML. Kubernetes replaces $(NAME) in them, and $$
// by $.
func list(program string, args []string) (string, error) {
	var words []string
	for _, word := range append([]string{program}, args...) {
		words = append(words, strings.ReplaceAll(word, "$", "$$"))
	}
	return quoted(words)
}
