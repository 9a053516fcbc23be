import { api } from "./api.ts";
import { type Loaded, useLoad } from "./load.ts";
import type { DocumentsResponse } from "./types.ts";

/** The path to list and upload an agent's documents. */
export function documentsPath(agentId: string): string {
  return `/api/agents/${encodeURIComponent(agentId)}/sources`;
}

/** An agent's documents, which are not part of its definition. Does nothing if `agentId` is null. */
export function useDocuments(agentId: string | null): Loaded<DocumentsResponse> {
  const path = documentsPath(agentId ?? "");
  return useLoad(agentId && path, (signal) => api.get<DocumentsResponse>(path, signal));
}
