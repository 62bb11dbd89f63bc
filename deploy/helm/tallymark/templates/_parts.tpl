{{- define "tallymark.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "tallymark.selector" -}}
app.kubernetes.io/name: tallymark
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "tallymark.labels" -}}
{{ include "tallymark.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "tallymark.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* A number as it is written: Helm reads every number as a float and prints 2764800 as 2.7648e+06. */ -}}
{{- define "tallymark.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "tallymark.env" -}}
{{- range $name, $value := .Values.settings }}
- name: TALLYMARK_{{ upper $name }}
  value: {{ include "tallymark.text" $value | quote }}
{{- end }}
{{- range $name, $from := .Values.secrets }}
- name: TALLYMARK_{{ upper $name }}
  valueFrom:
    secretKeyRef: {name: {{ $from.name | quote }}, key: {{ $from.key | quote }}}
{{- end }}
- {name: TALLYMARK_STATE_DIR, value: /var/lib/tallymark}
- {name: TALLYMARK_METRICS_HOST, value: 0.0.0.0}
- {name: TALLYMARK_METRICS_PORT, value: "9100"}
- {name: TALLYMARK_API_HOST, value: 0.0.0.0}
- {name: TALLYMARK_API_PORT, value: "8888"}
{{- end }}

{{- define "tallymark.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "tallymark.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "tallymark.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "tallymark.selector" . | nindent 8 }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "tallymark.selector" . | nindent 8 }}
{{- end }}
