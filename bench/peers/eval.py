"""Verification figures of lists of scores, computed with NumPy and scikit-learn, against ours.

    eval.py FILE.csv FIGURES.json [FILE.csv FIGURES.json ...]

FILE.csv has the columns distance and same, FIGURES.json is what `eval-exact figures FILE.csv`
prints. Prints a table of Markdown and fails where a figure differs by 1e-9 or more, or any TAR
at all. The rules are written here from their descriptions:

* insightface: ten contiguous folds, unshuffled; accuracy at the first of the thresholds 0, 0.01
  ... 3.99 that is best on the others; VAL at the threshold 0, 0.001 ... 3.999 that linear
  interpolation of the others' FAR finds for the target, 0 if their largest FAR is less.
* facexzoo: folds of 600 pairs; cosines; 1000 thresholds from the least to the greatest of the
  others, of which the first that maximises TPR - FPR; mean and standard error with ddof 1.
* a list whose folds would be of one kind is merged evenly first: pair j of the n of its kind
  is put at (j + 1/2) / n.
"""

import csv
import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.interpolate import interp1d
from sklearn.metrics import auc, roc_auc_score, roc_curve
from sklearn.model_selection import KFold

TARGETS = {"1e-1": 1e-1, "1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}


def read(path):
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    return np.array([float(r["distance"]) for r in rows]), np.array([r["same"] == "1" for r in rows])


def merged(same):
    """The order of a list whose kinds are merged evenly."""
    places = []
    for kind in (True, False):
        of_kind = np.flatnonzero(same == kind)
        places += [(Fraction(2 * j + 1, 2 * len(of_kind)), not kind, pair) for j, pair in enumerate(of_kind)]
    return np.array([pair for _, _, pair in sorted(places)])


def folds(same, cut):
    """The folds of a list, as arrays of pairs; of the merged list if one would be of one kind."""
    for order in (np.arange(len(same)), merged(same)):
        tests = [order[test] for test in cut(len(same))]
        if all(0 < same[test].sum() < len(test) for test in tests):
            return tests
    return tests


def ten(n):
    return [test for _, test in KFold(n_splits=10, shuffle=False).split(np.arange(n))]


def blocks(n):
    starts = np.arange(n // 600) * 600
    return np.split(np.arange(n), starts[1:])


def others(test, n):
    rest = np.ones(n, bool)
    rest[test] = False
    return rest


def below(values, thresholds):
    """How many of the values are less than each threshold."""
    return np.searchsorted(np.sort(values), thresholds, "left")


def above(values, thresholds):
    return len(values) - np.searchsorted(np.sort(values), thresholds, "right")


def insightface(distance, same, targets):
    tests = folds(same, ten)
    grid, fine = np.arange(0, 4, 0.01), np.arange(0, 4, 0.001)
    accuracies, vals = [], {name: [] for name in targets}
    for test in tests:
        rest = others(test, len(same))
        d, s = distance[rest], same[rest]
        right = below(d[s], grid) + (~s).sum() - below(d[~s], grid)
        threshold = grid[np.argmax(right)]
        accuracies.append(np.mean((distance[test] < threshold) == same[test]))
        far = below(d[~s], fine) / (~s).sum()
        for name, target in targets.items():
            threshold = float(interp1d(far, fine, kind="linear")(target)) if far.max() >= target else 0.0
            accepted = distance[test] < threshold
            vals[name].append((np.mean(accepted[same[test]]), np.mean(accepted[~same[test]])))
    figures = {"accuracy": np.mean(accuracies), "accuracy_std": np.std(accuracies)}
    for name, rates in vals.items():
        val, far = np.array(rates).T
        figures["VAL " + name] = val.mean()
        figures["VAL std " + name] = val.std()
        figures["VAL FAR " + name] = far.mean()
    return figures


def facexzoo(distance, same):
    cosine = 1 - distance / 2
    accuracies = []
    tests = folds(same, blocks)
    for test in tests:
        rest = others(test, len(same))
        c, s = cosine[rest], same[rest]
        step = (c.max() - c.min()) / 1000
        thresholds = c.min() + step * np.arange(1, 1001)
        tpr, fpr = above(c[s], thresholds) / s.sum(), above(c[~s], thresholds) / (~s).sum()
        accuracies.append(np.mean((cosine[test] > thresholds[np.argmax(tpr - fpr)]) == same[test]))
    return {"accuracy": np.mean(accuracies), "accuracy_std_error": np.std(accuracies, ddof=1) / np.sqrt(len(tests))}


def equal_rate(fpr, tpr):
    """The rate at which FAR and FRR are equal on the line between two points, and the range that
    both pass there as steps."""
    frr = 1 - tpr
    after = np.argmax(fpr >= frr)
    before = after - 1
    part = (frr[before] - fpr[before]) / ((fpr[after] - frr[after]) + (frr[before] - fpr[before]))
    return fpr[before] + part * (fpr[after] - fpr[before]), max(fpr[before], frr[after]), min(fpr[after], frr[before])


class Comparison:
    """Our figures beside theirs."""

    def __init__(self):
        self.figures = self.tars = self.unequal = 0
        self.worst, self.of = 0.0, ""

    def add(self, name, ours, theirs):
        self.figures += 1
        if not abs(ours - theirs) <= self.worst:
            self.worst, self.of = abs(ours - theirs), name

    def tar(self, name, ours, theirs):
        self.tars += 1
        self.unequal += ours != theirs
        self.add(name, ours, theirs)


def compare(distance, same, ours):
    c = Comparison()
    fpr, tpr, _ = roc_curve(same, -distance, drop_intermediate=False)
    plain = ours["plain"]["le"]
    c.add("AUC", plain["auc"], auc(fpr, tpr))
    c.add("AUC", plain["auc"], roc_auc_score(same, -distance))
    eer, low, high = equal_rate(fpr, tpr)
    c.add("EER", plain["eer"], eer)
    c.add("EER low", plain["eer_range"]["low"], low)
    c.add("EER high", plain["eer_range"]["high"], high)
    targets = {name: t for name, t in TARGETS.items() if t * (~same).sum() >= 1 - 1e-9}
    assert set(plain["tar_at_far"]) == set(targets), "other targets can be measured"
    for name, target in targets.items():
        le = tpr[fpr <= target].max()
        c.tar("TAR le " + name, ours["plain"]["le"]["tar_at_far"][name], le)
        flipped = np.flip(fpr)
        nearest = np.flip(tpr)[np.argmin(np.abs(flipped - target))]
        c.tar("TAR nearest " + name, ours["plain"]["nearest"]["tar_at_far"][name], nearest)
        c.add("TAR interp " + name, ours["plain"]["interp"]["tar_at_far"][name], np.interp(target, fpr, tpr))
    for p in plain["operating_points"]:
        accepted = distance < p["threshold"]
        c.add("false accepts", p["false_accepts"], (accepted & ~same).sum())
        c.add("false rejects", p["false_rejects"], (~accepted & same).sum())
    for p in plain["det"]:
        c.add("DET", 0, np.min(np.abs(fpr - p["fmr"]) + np.abs(1 - tpr - p["fnmr"])))
    for kind, of in (("same", same), ("different", ~same)):
        bins, _ = np.histogram(1 - distance[of] / 2, 64, (-1, 1))
        c.add("histogram", 0, np.abs(bins - plain["histogram"][kind]).sum())
    theirs = insightface(distance, same, targets)
    rule = ours["insightface"]["le"]
    c.add("accuracy", plain["accuracy"], theirs["accuracy"])
    for name in ("accuracy", "accuracy_std"):
        c.add("insightface " + name, rule[name], theirs[name])
    for p, name in zip(rule["val_at_far"], targets, strict=True):
        c.add("insightface VAL " + name, p["val"], theirs["VAL " + name])
        c.add("insightface VAL std " + name, p["val_std"], theirs["VAL std " + name])
        c.add("insightface VAL FAR " + name, p["far"], theirs["VAL FAR " + name])
    theirs = facexzoo(distance, same)
    for name in theirs:
        c.add("facexzoo " + name, ours["facexzoo"]["le"][name], theirs[name])
    return c


def main(args):
    failed = False
    print("| scores | same | different | figures | largest difference | of | TARs | unequal |")
    print("| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |")
    for path, figures in zip(args[::2], args[1::2], strict=True):
        distance, same = read(path)
        c = compare(distance, same, json.loads(Path(figures).read_text()))
        failed |= not c.worst < 1e-9 or c.unequal > 0
        print(f"| {Path(path).stem} | {same.sum()} | {(~same).sum()} | {c.figures} | {c.worst:.1e} | {c.of} | {c.tars} | {c.unequal} |")
    if failed:
        sys.exit("figures differ")


if __name__ == "__main__":
    main(sys.argv[1:])
