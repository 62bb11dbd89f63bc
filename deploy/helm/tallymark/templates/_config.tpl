{{- /*
The configuration of one process. Arguments: `root`, `component` (a stage, api or topics), `own` (its own values).
*/ -}}

{{- /* A number as it is written: Helm reads every number as a float and prints 2764800 as 2.7648e+06. */ -}}
{{- define "tallymark.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- /* Who uses a secret or a file; all processes use those that are not here. */ -}}
{{- define "tallymark.users" -}}
clickhouse_password: [sink, backfill, alert, stripe-sync, billing, api]
redis_password: [live, api]
secrets_key: [webhook, stripe-sync, api]
portal_secret: [api]
api_key: [api]
webhook_ca: [webhook]
ca_bundle: [sink, backfill, alert, stripe-sync, billing, api, live]
{{- end }}

{{- /* Settings, references to secrets and to files of a process, as JSON. */ -}}
{{- define "tallymark.config" -}}
{{- $users := include "tallymark.users" . | fromYaml }}
{{- $settings := mergeOverwrite (deepCopy .root.Values.settings) (.own.settings | default dict) }}
{{- $found := dict "settings" $settings "secrets" dict "files" dict }}
{{- range $kind := list "secrets" "files" }}
{{- $all := deepCopy (index $.root.Values $kind) }}
{{- range $name, $from := index $.own $kind }}
{{- $_ := set $all $name $from }}
{{- end }}
{{- if and (eq $kind "files") $.root.Values.caBundle }}
{{- $_ := set $all "ca_bundle" $.root.Values.caBundle }}
{{- end }}
{{- range $name, $from := $all }}
{{- if has $.component (get $users (trimSuffix "_file" $name) | default (list $.component)) }}
{{- $_ := set (get $found $kind) $name $from }}
{{- end }}
{{- if hasKey $settings $name }}
{{- fail (printf "%s is in settings and in %s: only one may have it." $name $kind) }}
{{- end }}
{{- end }}
{{- end }}
{{- $found | toJson }}
{{- end }}

{{- define "tallymark.env" -}}
{{- $config := include "tallymark.config" . | fromJson }}
{{- range $name, $value := $config.settings }}
- name: TALLYMARK_{{ upper $name }}
  value: {{ include "tallymark.text" $value | quote }}
{{- end }}
{{- range $name, $from := $config.secrets }}
- name: TALLYMARK_{{ upper $name }}
  valueFrom:
    secretKeyRef: {name: {{ $from.name | quote }}, key: {{ $from.key | quote }}}
{{- end }}
{{- range $name, $from := $config.files }}
- {name: {{ eq $name "ca_bundle" | ternary "SSL_CERT_FILE" (printf "TALLYMARK_%s" (upper $name)) }}, value: /etc/tallymark/{{ $name }}}
{{- end }}
- {name: TALLYMARK_STATE_DIR, value: /var/lib/tallymark}
- {name: TALLYMARK_METRICS_HOST, value: 0.0.0.0}
- {name: TALLYMARK_METRICS_PORT, value: "9100"}
- {name: TALLYMARK_API_HOST, value: 0.0.0.0}
- {name: TALLYMARK_API_PORT, value: "8888"}
{{- end }}

{{- /* All but `state`. */ -}}
{{- define "tallymark.volumes" -}}
- {name: tmp, emptyDir: {sizeLimit: 1Gi}}
{{- with (include "tallymark.config" . | fromJson).files }}
- name: files
  projected:
    defaultMode: 0440
    sources:
      {{- range $name, $from := . }}
      - {{ ternary "secret" "configMap" (hasKey $from "secret") }}:
          name: {{ $from.secret | default $from.configMap | quote }}
          items: [{key: {{ $from.key | quote }}, path: {{ $name }}}]
      {{- end }}
{{- end }}
{{- end }}

{{- define "tallymark.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if (include "tallymark.config" . | fromJson).files }}
- {name: files, mountPath: /etc/tallymark, readOnly: true}
{{- end }}
{{- end }}
