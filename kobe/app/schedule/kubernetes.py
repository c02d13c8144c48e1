"""CronJobs for Kubernetes with their zone in them, and the volume that holds the home."""

import json

from kobe.app.schedule.cron import fields
from kobe.app.schedule.entries import RUN_LIMIT_H, ExportedFile, Group, Plan, grouped

HOME = "/var/lib/kobe"
IMAGE = "kobe"  # a tag and a registry come from `kustomize edit set image kobe=...` or an editor
OWNER = 10001
LATE_S = 3600  # kobe judges by itself what is too late; this only bounds how long a start is waited for
LABELS = "{app.kubernetes.io/name: kobe, app.kubernetes.io/component: once}"


def kubernetes_files(plan: Plan) -> tuple[ExportedFile, ...]:
    """Write the claim of the home, which outlives the jobs, and one CronJob for each line of the week."""
    groups = grouped(plan.wake_ups.minutes)
    jobs = "".join(_job(plan, number, group) for number, group in enumerate(groups, 1))
    head = f"# {plan.origin}\n# {plan.wake_ups.words}\n"
    return (
        ExportedFile(name="kobe-home.yaml", text=head.splitlines()[0] + "\n" + CLAIM),
        ExportedFile(name="kobe-once.yaml", text=head + jobs),
    )


CLAIM = f"""\
# Kept apart from the jobs, so that `kubectl delete -f kobe-once.yaml` never deletes the records. The ledger is SQLite:
# take a volume of blocks, not a share of files, or set records.ledger_url.
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: kobe-home
  labels: {LABELS}
spec:
  accessModes: [ReadWriteOnce]
  resources:
    requests:
      storage: 20Gi
"""


def _job(plan: Plan, number: int, group: Group) -> str:
    return f"""\
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: kobe-once-{number:02d}
  labels: {LABELS}
spec:
  schedule: "{fields(group)}"
  timeZone: {plan.wake_ups.zone}
  # jobs of one line only; between the lines kobe's own lease in the home decides
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: {LATE_S}
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 5
  jobTemplate:
    spec:
      # the next wake-up makes up for what failed; a second pod at once would not know better
      backoffLimit: 0
      activeDeadlineSeconds: {RUN_LIMIT_H * 3600}
      template:
        metadata:
          labels: {LABELS}
        spec:
          restartPolicy: Never
          automountServiceAccountToken: false
          # schedule.stop_grace_s and half a minute to write things down
          terminationGracePeriodSeconds: {round(plan.stop_grace_s) + 30}
          securityContext:
            runAsNonRoot: true
            runAsUser: {OWNER}
            runAsGroup: {OWNER}
            fsGroup: {OWNER}
            fsGroupChangePolicy: OnRootMismatch
            seccompProfile: {{type: RuntimeDefault}}
{_container(plan)}
          volumes:
            - name: home
              persistentVolumeClaim: {{claimName: kobe-home}}
            - name: tmp
              emptyDir: {{}}
"""


def _container(plan: Plan) -> str:
    program, *rest = (json.dumps(word) for word in plan.words)
    return f"""\
          containers:
            - name: kobe
              image: {IMAGE}
              command: [{program}]
              args: [{", ".join(rest)}]
              env:
                - {{name: XDG_CACHE_HOME, value: {json.dumps(f"{plan.home}/cache")}}}
                - {{name: HOME, value: /tmp}}
              envFrom:
                # the broker's keys; without the Secret kobe trades on the simulated broker only
                - secretRef: {{name: kobe, optional: true}}
              resources:
                requests: {{cpu: 250m, memory: 1Gi}}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {{drop: [ALL]}}
              volumeMounts:
                - {{name: home, mountPath: {json.dumps(plan.home)}}}
                - {{name: tmp, mountPath: /tmp}}"""
