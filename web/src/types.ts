// The console's names for the schemas of openapi.json, and the types that only the console has.
// `npm run api-types` generates api-types.ts from openapi.json.
import type { components } from "./api-types.ts";

type Schemas = components["schemas"];

/** The document has the same schemas of a model and of limits for requests and responses. So fields can be null
 * or absent here that are neither in a response. */
export type Agent = Schemas["Agent"];
export type AgentsResponse = Schemas["AgentList"];
export type Answer = Schemas["Answer"];
export type ApiListing = Schemas["ApiListing"];
export type AuditEntry = Schemas["AuditEntry"];
export type AuditPage = Schemas["AuditList"];
export type CallTrial = Schemas["CallTrial"];
export type Document = Schemas["Document"];
export type DocumentsResponse = Schemas["DocumentList"];
export type FieldChange = Schemas["FieldChange"];
export type InlineSource = Schemas["Source"];
export type InspectedTool = Schemas["InspectedTool"];
export type LeftOutTool = Schemas["LeftOutTool"];
export type Limits = Schemas["Limits"];
export type McpListing = Schemas["McpListing"];
export type Model = Schemas["ModelConfig"];
export type ModelTrial = Schemas["ModelTrial"];
export type Percentiles = Schemas["DurationPercentiles"];
export type Price = Schemas["Price"];
export type Provider = Schemas["Provider"];
export type RenderedPrompt = Schemas["RenderedPrompt"];
export type Secret = Schemas["SecretSummary"];
export type SecretsResponse = Schemas["SecretList"];
export type Stats = Schemas["Stats"];
export type Task = Schemas["TaskDetail"];
export type ErrorDetail = Schemas["ErrorDetail"];
export type TaskError = Schemas["Failure"];
export type TaskEvent = Schemas["TaskEvent"];
export type TaskPage = Schemas["TaskList"];
/** The response of `GET /api/task_status`. */
export type TaskState = Schemas["TaskStatus"];
export type TaskStatus = Schemas["Status"];
export type TaskSummary = Schemas["TaskSummary"];
export type ToolCall = Schemas["ToolCallRecord"];
export type Usage = Schemas["Usage"];
export type WebhookUrl = Schemas["WebhookUrl"];

// Types that only the console has.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A definition as the form sends it: with all fields that have a default. */
export interface Definition extends Omit<Schemas["NewAgent"], "tools" | "output_schema"> {
  sources: InlineSource[];
  limits: Limits;
  enabled: boolean;
  /** JSON as it was typed. The server checks it. */
  tools: Json[];
  /** JSON as it was typed. The server checks it. */
  output_schema?: Json;
}
