// Uploads a file with XMLHttpRequest, which reports progress; `fetch` does not.
import { type ApiError, session, toError, unreachable } from "./api.ts";

/** The supported content types by file name extension. */
const TYPES: Record<string, string> = {
  txt: "text/plain",
  text: "text/plain",
  md: "text/markdown",
  markdown: "text/markdown",
  html: "text/html",
  htm: "text/html",
  xhtml: "application/xhtml+xml",
  pdf: "application/pdf",
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  csv: "text/csv",
  tsv: "text/tab-separated-values",
  json: "application/json",
  jsonl: "application/x-ndjson",
  ndjson: "application/x-ndjson",
  rst: "text/x-rst",
  mdx: "text/mdx",
  org: "text/org",
};
export const ACCEPTED = Object.keys(TYPES)
  .map((ending) => `.${ending}`)
  .join(", ");
export const MAX_FILE_BYTES = 4 * 1024 * 1024;

export interface Upload {
  done: Promise<void>;
  cancel: () => void;
}

/** The content type of a supported file, or `undefined`. */
export function typeOf(name: string): string | undefined {
  return TYPES[name.split(".").at(-1)?.toLowerCase() ?? ""];
}

/** Uploads a file; `onProgress` gets the uploaded share, from 0 to 1. */
export function upload(path: string, file: File, type: string, onProgress: (part: number) => void): Upload {
  const request = new XMLHttpRequest();
  const done = new Promise<void>((resolve, reject: (error: ApiError) => void) => {
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable && event.total > 0) onProgress(event.loaded / event.total);
    });
    request.addEventListener("error", () => reject(unreachable()));
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) return resolve();
      if (request.status === 401) session.set("out");
      reject(toError(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    });
    request.open("POST", path);
    request.setRequestHeader("X-Console", "1");
    request.setRequestHeader("Content-Type", type);
    request.send(file);
  });
  return { done, cancel: () => request.abort() };
}
