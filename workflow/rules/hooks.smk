# What happens around the jobs: at the start, and where one failed.
import subprocess
from collections import Counter

from prerl.bench.estimate import in_all, seconds_here
from prerl.files.atomic import write_json


def watched(jobs):
    """Says what is begun, how long it takes, and where to look meanwhile; starts the process that writes that page."""
    shown = [job for job in jobs if job.output and job.log]
    counts = Counter(job.rule.name for job in shown)
    if not counts["page"] or not counts["train"] + counts["evaluate"]:
        return
    order, each = [rule.name for rule in workflow.rules], seconds_here(SCALE_NAME)
    plan = {
        "name": SCALE_NAME,
        "description": SCALE.description,
        "jobs": [
            {
                "rule": job.rule.name,
                "name": " ".join([job.rule.name, *job.wildcards_dict.values()]),
                "file": str(job.output[-1]),
                "log": str(job.log[0]),
                "seconds": each and each.get(job.rule.name, 0.0),
            }
            for job in sorted(shown, key=lambda job: order.index(job.rule.name))
        ],
    }
    plan["seconds"] = each and in_all(each, counts, workflow.cores)
    write_json(Path(f"{LOGS}/plan.json"), plan)
    page = f"{RESULTS}/index.html"
    kinds = ", ".join(f"{count} {rule}" for rule, count in counts.most_common())
    minutes = f"; about {plan['seconds'] / 60:.0f} minutes here" if plan["seconds"] else ""
    print(f"prerl: {len(plan['jobs'])} jobs ({kinds}){minutes}. Meanwhile look at {page}", file=sys.stderr)
    command = [sys.executable, "-m", "prerl.cli", "watch", "--plan", f"{LOGS}/plan.json", "--out", page]
    # A session of its own, so that Ctrl-C does not end it before it sees that there is nothing left to watch.
    subprocess.Popen([*command, "--parent", str(os.getpid())], start_new_session=True)


onstart:
    there = next(path for path in [Path(RESULTS), *Path(RESULTS).parents] if path.exists())
    if not os.access(there, os.W_OK):
        raise WorkflowError(f"prerl: {there} cannot be written: nothing was started")
    if not NEW_FILE:
        watched(list(workflow.dag.needrun_jobs()))


# What was wrong, in a line: it stands in the log of the job that failed, which few open.
onerror:
    logs = [path for path in Path(LOGS).rglob("*.log") if path.stat().st_mtime > STARTED]
    lines = {line for path in logs for line in path.read_text(errors="replace").splitlines()}
    print("", *sorted(line for line in lines if line.startswith("prerl: ")), sep="\n", file=sys.stderr)
