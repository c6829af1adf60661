package pairlist

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
)

// columns splits a line at tabs if it has one, so that names may contain spaces, and at
// white space otherwise.
func columns(line string) []string {
	if !strings.Contains(strings.TrimSpace(line), "\t") {
		return strings.Fields(line)
	}
	return trimmed(strings.Split(strings.TrimSpace(line), "\t"))
}

// commas splits a line of a table at commas, or what stands for them; a column may be
// in quotation marks.
func commas(comma rune) func(line string) []string {
	return func(line string) []string {
		r := csv.NewReader(strings.NewReader(line))
		r.Comma, r.LazyQuotes, r.TrimLeadingSpace, r.FieldsPerRecord = comma, true, true, -1
		fields, err := r.Read()
		if err != nil {
			return nil
		}
		return trimmed(fields)
	}
}

func trimmed(fields []string) []string {
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return fields
}

func number(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > maxNumber {
		return 0, fmt.Errorf("%.40q is not a number from 0 to %d", s, maxNumber)
	}
	return int(n), nil
}

func isNumber(s string) bool {
	_, err := number(s)
	return err == nil
}
