"""Snakemake, as a user starts it, and what it says."""

import re
import subprocess
import sys


def snakemake(checkout, *arguments):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True)


def planned(output):
    """Rule -> number of jobs, from Snakemake's table of job statistics."""
    return {rule: int(jobs) for rule, jobs in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}


def requests(plan, resource):
    """Rule -> what its jobs ask for, from a dry run."""
    found = re.findall(rf"^rule (\w+):(?:\n .+)*?\n +resources:.*\b{resource}=(\d+)", plan, re.MULTILINE)
    return {rule: int(number) for rule, number in found}
