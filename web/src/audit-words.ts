// Texts for the entries of the audit log. Pure functions.
import { formatBytes, formatCount, formatDuration } from "./format.ts";
import type { AuditEntry, FieldChange } from "./types.ts";

/** An event that is missing here was added by a later version. */
export const EVENT_NAMES: Record<string, string> = {
  agent_created: "Agent created",
  agent_updated: "Agent updated",
  agent_enabled: "Agent enabled",
  agent_disabled: "Agent disabled",
  agent_deleted: "Agent deleted",
  webhook_rotated: "Webhook rotated",
  secret_put: "Secret stored",
  secret_deleted: "Secret deleted",
  document_added: "Document added",
  document_deleted: "Document deleted",
  model_tested: "Model tested",
  tool_inspected: "Tool inspected",
  tool_called: "Tool called as a test",
  signed_in: "Signed in",
  signed_out: "Signed out",
  sign_in_failed: "Sign-in failed",
  token_rejected: "Admin token rejected",
  attempts_limited: "Attempts limited",
  cross_origin_refused: "Cross-origin change refused",
  attempts_omitted: "More attempts refused",
} satisfies Record<Exclude<AuditEntry["event"], "unknown">, string>;

export function isRefusal(entry: AuditEntry): boolean {
  return entry.attempts !== undefined;
}

export function whoText(entry: AuditEntry): string {
  switch (entry.actor) {
    case "admin_token":
      return "Admin token";
    case "session":
      return entry.session_id ? `Session ${entry.session_id}` : "Session";
    case "server":
      return "Server";
    default:
      return "–";
  }
}

/** Details other than the agent and the changed values, which are shown separately. */
export function detailText(entry: AuditEntry): string {
  const parts: string[] = [];
  if (entry.fields?.length) parts.push(`fields: ${entry.fields.join(", ")}`);
  if (entry.secret_name !== undefined) parts.push(entry.secret_name);
  if (entry.title !== undefined) parts.push(entry.title);
  else if (entry.source_id !== undefined) parts.push(`document ${entry.source_id}`);
  if (entry.tool !== undefined) parts.push(entry.tool);
  if (entry.server !== undefined) parts.push(entry.server);
  if (entry.bytes !== undefined) parts.push(formatBytes(entry.bytes));
  if (entry.overlap_seconds !== undefined) parts.push(overlap(entry.overlap_seconds));
  if (entry.event === "attempts_omitted" && entry.attempts !== undefined) {
    parts.push(`and ${formatCount(entry.attempts)} more in that minute, from ${addresses(entry.addresses ?? 0)}`);
  }
  return parts.join(" · ");
}

function addresses(count: number): string {
  return count === 1 ? "1 address" : `${formatCount(count)} addresses`;
}

function overlap(seconds: number): string {
  return seconds === 0 ? "the old URL ended at once" : `the old URL works for ${formatDuration(seconds * 1000)}`;
}

/** `model.base_url: https://a.example → https://b.example` */
export function changeText({ field, old, new: now }: FieldChange): string {
  if (old === undefined) return `${field}: ${now ?? "none"}`;
  return `${field}: ${old} → ${now ?? "none"}`;
}
