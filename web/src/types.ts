// The types of the management API, as in the OpenAPI document.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export type Provider = "openai" | "anthropic" | "bedrock" | "extractive";

/** US dollars per million tokens. */
export interface Price {
  input: number;
  output: number;
}

/** A key to store, or the name of the stored secret. */
export type ApiKey = string | { secret: string };

export interface Model {
  provider: Provider;
  base_url?: string;
  name?: string;
  api_key?: ApiKey;
  price?: Price;
}

export interface InlineSource {
  title: string;
  text: string;
}

export interface Limits {
  timeout_seconds: number;
  max_turns: number;
  max_output_tokens: number;
  max_total_tokens?: number;
  max_concurrent_runs?: number;
  triggers_per_minute?: number;
}

export interface Definition {
  name: string;
  prompt?: string;
  model?: Model;
  tools: Json[];
  sources: InlineSource[];
  output_schema?: Json;
  limits: Limits;
  enabled: boolean;
}

export interface Agent extends Definition {
  agent_id: string;
  webhook_url: string;
  created_at: string;
  updated_at: string;
}

export interface Document {
  id: string;
  title: string;
  source: string;
  bytes: number;
  passages: number;
  created_at: string;
}

export interface Secret {
  name: string;
  agents: string[];
}

/** A field of an agent whose values are in the audit log. Of a URL, only the origin. */
export interface FieldChange {
  field: string;
  old?: string;
  new?: string;
}

export interface AuditEntry {
  id: string;
  at: string;
  event: string;
  actor: "admin_token" | "session" | "unauthenticated" | "server";
  session_id?: string;
  address?: string;
  agent_id?: string;
  agent_name?: string;
  secret_name?: string;
  source_id?: string;
  title?: string;
  bytes?: number;
  passages?: number;
  overlap_seconds?: number;
  fields?: string[];
  changes?: FieldChange[];
  /** Of refused attempts: how many attempts the entry represents. */
  attempts?: number;
  addresses?: number;
}

export interface AuditPage {
  entries: AuditEntry[];
  next_cursor: string | null;
}

export type TaskStatus = "PENDING" | "STARTED" | "SUCCESS" | "FAILURE";

export interface TaskError {
  type: string;
  message: string;
  retryable: boolean;
  tool_calls?: ToolCall[];
}

export interface Usage {
  model: string;
  turns: number;
  input_tokens: number;
  output_tokens: number;
}

export interface TaskSummary {
  task_id: string;
  agent_id: string;
  status: TaskStatus;
  attempt: number;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  /** From creation to the first start. */
  wait_ms: number | null;
  /** From the start to the end. */
  run_ms: number | null;
  error: TaskError | null;
  usage: Usage | null;
  expires_at: string;
}

export interface TaskPage {
  tasks: TaskSummary[];
  next_cursor: string | null;
  /** The time back to which a filtered page searched; null if all tasks were searched. */
  looked_back_to: string | null;
}

export interface ToolCall {
  tool_name?: string;
  action_name?: string;
  call_id?: string;
  arguments?: Json;
  result?: string;
  status?: string;
  duration_ms?: number;
  turn?: number;
  [other: string]: Json | undefined;
}

export interface AnswerSource {
  title: string;
  source?: string;
  text: string;
}

export interface Answer {
  answer: string;
  sources: AnswerSource[];
  thought: string;
  tool_calls: ToolCall[];
}

/** The response of `GET /api/task_status`. */
export interface TaskState {
  status: TaskStatus;
  result: null | string | { status: "success"; result: Answer };
  task_id: string;
  agent_id: string;
  attempt: number;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  error: TaskError | null;
  usage: Usage | null;
}

export interface TaskEvent {
  type: "created" | "claimed" | "released" | "finished";
  at: string;
  attempt: number | null;
  error_type?: string;
  message?: string;
  resumes_at?: string;
}

export interface Task extends TaskState {
  payload: Json;
  payload_bytes: number;
  /** Whether the payload is omitted because it does not fit into the response. */
  payload_omitted: boolean;
  wait_ms: number | null;
  run_ms: number | null;
  expires_at: string;
  waits_until: string | null;
  events: TaskEvent[];
}

export interface Percentiles {
  p50: number;
  p90: number;
  p99: number;
  max: number;
}

export type ByStatus = Record<TaskStatus, number>;

export interface Stats {
  from: string;
  to: string;
  bucket_seconds: number;
  tasks: number;
  examined: number;
  sampled: boolean;
  by_status: ByStatus;
  buckets: (ByStatus & { at: string })[];
  errors: Record<string, number>;
  wait_ms: Percentiles | null;
  run_ms: Percentiles | null;
  input_tokens: number;
  output_tokens: number;
  models: { model: string; tasks: number; input_tokens: number; output_tokens: number; cost_usd: number | null }[];
  cost_usd: number | null;
  unpriced_tasks: number;
}
