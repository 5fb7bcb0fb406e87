{{/* Labels of one part: (list $ "server"). */}}
{{- define "lamina.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: lamina
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "lamina.labels" -}}
{{- $root := index . 0 -}}
{{ include "lamina.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{/* Name of one part, which is that of its service, too. */}}
{{- define "lamina.name" -}}
{{- printf "%s-%s" ((index . 0).Release.Name | trunc 50 | trimSuffix "-") (index . 1) -}}
{{- end }}

{{- define "lamina.api" -}}
http://{{ include "lamina.name" (list . "server") }}.{{ .Release.Namespace }}.svc:4200/api
{{- end }}

{{/* Variables of whatever computes, as a map: the same for workers here and for pods of runs. */}}
{{- define "lamina.places" -}}
LAMINA_HOME: /scratch/lamina
LAMINA_OUTPUTS: /data/outputs
LAMINA_MODELS: /data/models
LAMINA_INPUTS: /data/inputs
{{- if not (hasKey .Values.environment "LAMINA_MEDICAL_PAGES") }}
LAMINA_MEDICAL_PAGES: private
{{- end }}
PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30"
{{- with .Values.environment }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The same as a container has them, with further ones: (list $ (dict ...)). */}}
{{- define "lamina.env" -}}
{{- $root := index . 0 -}}
{{- $all := merge (index . 1) (dict "PREFECT_API_URL" (include "lamina.api" $root)) (include "lamina.places" $root | fromYaml) -}}
env:
{{- range $name, $value := $all }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with $root.Values.secrets.environment }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{/* What the server's processes share: backends elsewhere, migrations by a job of their own. */}}
{{- define "lamina.serverEnv" -}}
env:
  - {name: PREFECT_HOME, value: /scratch/prefect}
  - {name: PREFECT_SERVER_DATABASE_MIGRATE_ON_START, value: "false"}
  - {name: PREFECT_SERVER_EVENTS_MESSAGING_BROKER, value: prefect_redis.messaging}
  - {name: PREFECT_SERVER_EVENTS_MESSAGING_CACHE, value: prefect_redis.messaging}
  - {name: PREFECT_SERVER_EVENTS_CAUSAL_ORDERING, value: prefect_redis.ordering}
  - {name: PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE, value: prefect_redis.lease_storage}
  - {name: PREFECT_SERVER_ANALYTICS_ENABLED, value: "false"}
  - {name: PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT, value: "false"}
  - {name: PREFECT_SERVER_UI_API_URL, value: {{ printf "%s/api" .Values.server.url | quote }}}
envFrom:
  - secretRef: {name: {{ .Values.secrets.backends }}}
{{- end }}

{{- define "lamina.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - {name: {{ . }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "lamina.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "lamina.dataVolumes" -}}
- name: data
  persistentVolumeClaim: {claimName: {{ .Values.storage.claim }}}
- name: scratch
  emptyDir: {sizeLimit: {{ .Values.gpu.scratch }}}
{{- end }}

{{- define "lamina.dataMounts" -}}
- {name: data, mountPath: /data}
- {name: scratch, mountPath: /scratch}
{{- end }}

{{/*
Prefect's template of a run's pod. What values say is written into the defaults of its variables,
so that a run that asks for nothing gets them and the pool can be read for them.
*/}}
{{- define "lamina.jobTemplate" -}}
{{- $template := .Files.Get "files/gpu-job-template.json" | fromJson -}}
{{- $variables := $template.variables.properties -}}
{{- $defaults := dict
  "env" (include "lamina.places" . | fromYaml)
  "namespace" .Release.Namespace
  "image" (ternary .Values.image.gpu .Values.image.cpu (gt (int .Values.gpu.perRun) 0))
  "image_pull_policy" .Values.image.pullPolicy
  "claim" .Values.storage.claim
  "shm_size" .Values.gpu.shm
  "scratch_size" .Values.gpu.scratch
  "cpu_request" .Values.gpu.resources.requests.cpu
  "memory_request" .Values.gpu.resources.requests.memory
  "cpu_limit" .Values.gpu.resources.limits.cpu
  "memory_limit" .Values.gpu.resources.limits.memory
-}}
{{- $_ := set $defaults "gpus" (ternary (int .Values.gpu.perRun) nil (gt (int .Values.gpu.perRun) 0)) -}}
{{- range $name, $value := $defaults -}}
{{- $_ := set (index $variables $name) "default" $value -}}
{{- end -}}
{{- $pod := $template.job_configuration.job_manifest.spec.template.spec -}}
{{- $container := index $pod.containers 0 -}}
{{- with .Values.secrets.environment -}}
{{- $_ := set $container "envFrom" (list (dict "secretRef" (dict "name" .))) -}}
{{- end -}}
{{- with .Values.image.pullSecrets -}}
{{- $names := list -}}
{{- range . -}}{{- $names = append $names (dict "name" .) -}}{{- end -}}
{{- $_ := set $pod "imagePullSecrets" $names -}}
{{- end -}}
{{- $selector := .Values.gpu.nodeSelector -}}
{{- range $label, $name := dict "nvidia.com/gpu.product" "gpu_product" "lamina/pool" "node_pool" -}}
{{- if hasKey $selector $label -}}
{{- $_ := set (index $variables $name) "default" (index $selector $label) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $pod "nodeSelector" (merge $pod.nodeSelector $selector) -}}
{{- $template | toPrettyJson -}}
{{- end }}
