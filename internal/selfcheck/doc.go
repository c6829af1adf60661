// Package selfcheck finds out by measurement whether a face embedder gets pixels as it wants
// them: of a few faces, under which preprocessing does it tell people apart best, and does it
// at all? A wrong preprocessing shows in nothing else: embeddings come out, only worse.
package selfcheck
