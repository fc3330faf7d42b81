{{/* What both containers of the agent share. */}}

{{- define "pointsman.arguments" -}}
{{- $file := ternary "/var/lib/kube-proxy/config.conf" "/etc/pointsman/config.conf" (not (not .Values.existingConfigMap)) -}}
{{- concat (list "run" (printf "--config=%s" $file) "--hostname-override=$(NODE_NAME)" (printf "-v=%d" (int .Values.verbosity)) (printf "--logging-format=%s" .Values.loggingFormat)) .Values.extraArgs | toJson -}}
{{- end }}

{{- define "pointsman.environment" -}}
{{- $api := include "pointsman.api" . | fromJson -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- with $api.host }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ . | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ $api.port | quote }}
{{- end }}
{{- end }}

{{- define "pointsman.config-mount" -}}
{{- if .Values.existingConfigMap -}}
- {name: config, mountPath: /var/lib/kube-proxy, readOnly: true}
{{- else -}}
- {name: config, mountPath: /etc/pointsman/config.conf, subPath: config.conf, readOnly: true}  # a change reaches nodes by the roll-out
{{- end -}}
{{- end }}

{{/* Port 53 is below 1024, and user 0 has no power of its own here. */}}
{{- define "pointsman.capabilities" -}}
{{- $dns := dig "dns" "enabled" false .Values.pointsmanConfig -}}
{{- ternary (append .Values.capabilities "NET_BIND_SERVICE" | uniq) .Values.capabilities $dns | toJson -}}
{{- end }}
