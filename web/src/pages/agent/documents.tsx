import { useRef, useState } from "preact/hooks";
import { api, asApiError } from "../../api.ts";
import { documentsPath } from "../../documents.ts";
import type { Loaded } from "../../load.ts";
import type { Document, DocumentsResponse } from "../../types.ts";
import { ACCEPTED, MAX_FILE_BYTES, typeOf, upload } from "../../upload.ts";
import { Button, type Column, ErrorState, Icon, Section, Table, TableSkeleton, Time, ask, toast } from "../../ui/index.ts";

/** An upload in progress, or a failed one. */
interface Sending {
  id: number;
  name: string;
  part: number;
  error?: string;
  cancel?: () => void;
}

export function Documents({ agentId, documents }: { agentId: string; documents: Loaded<DocumentsResponse> }) {
  const path = documentsPath(agentId);
  const { sending, send, forget } = useUploads(path, documents.reload);
  return (
    <Section
      title="Documents"
      hint="Text, Markdown, HTML, PDF, Word, CSV, JSON and other text formats, up to 4 MiB each. The passages that best match a payload are added to the prompt. A file replaces an earlier one with the same name."
    >
      <div class="stack">
        <DropZone onFiles={send} />
        {sending.length > 0 && (
          <ul class="uploads" aria-label="Uploads">
            {sending.map((file) => (
              <SendingRow key={file.id} file={file} onForget={() => forget(file.id)} />
            ))}
          </ul>
        )}
        <DocumentList path={path} documents={documents} />
      </div>
    </Section>
  );
}

function useUploads(path: string, onDone: () => void) {
  const [sending, setSending] = useState<Sending[]>([]);
  const ids = useRef(0);
  const change = (id: number, news: Partial<Sending>) =>
    setSending((was) => was.map((file) => (file.id === id ? { ...file, ...news } : file)));
  const forget = (id: number) => setSending((was) => was.filter((file) => file.id !== id));

  async function sendOne(file: File) {
    const id = ids.current++;
    const refused = refusal(file);
    setSending((was) => [...was, { id, name: file.name, part: 0, ...(refused && { error: refused }) }]);
    const type = typeOf(file.name);
    if (refused || !type) return;
    const query = new URLSearchParams({ source: file.name });
    const { done, cancel } = upload(`${path}?${query}`, file, type, (part) => change(id, { part }));
    change(id, {
      cancel: () => {
        cancel();
        forget(id);
      },
    });
    try {
      await done;
      forget(id);
      toast(`${file.name} uploaded`);
      onDone();
    } catch (error) {
      change(id, { error: asApiError(error).message });
    }
  }
  return { sending, send: (files: File[]) => files.forEach((file) => void sendOne(file)), forget };
}

function refusal(file: File): string | undefined {
  if (!typeOf(file.name)) return `Unsupported file type. Upload one of these: ${ACCEPTED}`;
  if (file.size > MAX_FILE_BYTES) return "The file is larger than 4 MiB. Split it, or upload only its text.";
  if (file.size === 0) return "The file is empty";
  return undefined;
}

function DropZone({ onFiles }: { onFiles: (files: File[]) => void }) {
  const [over, setOver] = useState(false);
  const picker = useRef<HTMLInputElement>(null);
  return (
    <div
      class={over ? "drop-zone over" : "drop-zone"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        onFiles([...(event.dataTransfer?.files ?? [])]);
      }}
    >
      <input
        ref={picker}
        type="file"
        multiple
        accept={ACCEPTED}
        class="unseen"
        tabIndex={-1}
        aria-label="Files to upload"
        onChange={(event) => {
          onFiles([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = "";
        }}
      />
      <Icon name="upload" />
      <p>Drop files here, or</p>
      <Button small onClick={() => picker.current?.click()}>
        Choose files…
      </Button>
    </div>
  );
}

function SendingRow({ file, onForget }: { file: Sending; onForget: () => void }) {
  const sent = file.part >= 1;
  return (
    <li>
      <span class="upload-name">{file.name}</span>
      {file.error ? (
        <p class="field-error" role="alert">
          <Icon name="warning" />
          <span>{file.error}</span>
        </p>
      ) : (
        <>
          <progress aria-label={`Upload of ${file.name}`} max={1} value={sent ? undefined : file.part} />
          <span class="hint">{sent ? "Processing…" : `${Math.round(file.part * 100)} %`}</span>
        </>
      )}
      {file.error ? (
        <Button small kind="quiet" icon="close" aria-label={`Dismiss ${file.name}`} onClick={onForget} />
      ) : (
        <Button small kind="quiet" icon="close" aria-label={`Cancel the upload of ${file.name}`} onClick={file.cancel} />
      )}
    </li>
  );
}

function DocumentList({ path, documents }: { path: string; documents: Loaded<DocumentsResponse> }) {
  if (documents.error && !documents.data) {
    return <ErrorState error={documents.error} retry={documents.reload} title="The documents could not be loaded" />;
  }
  if (!documents.data) return <TableSkeleton rows={2} />;
  const { sources } = documents.data;
  if (sources.length === 0) return <p class="dim">No documents yet.</p>;
  const columns = [...COLUMNS, deleteColumn(path, documents.reload)];
  return <Table caption="Documents" columns={columns} rows={sources} rowKey={({ id }) => id} />;
}

const COLUMNS: Column<Document>[] = [
  {
    id: "title",
    label: "Title",
    cell: (document) => (
      <span class="two-lines">
        <span>{document.title}</span>
        {document.source !== document.title && <span class="dim">{document.source}</span>}
      </span>
    ),
  },
  { id: "size", label: "Size", numeric: true, cell: ({ bytes }) => size(bytes) },
  { id: "passages", label: "Passages", numeric: true, cell: ({ passages }) => passages.toLocaleString("en") },
  { id: "added", label: "Added", numeric: true, cell: ({ created_at }) => <Time at={created_at} /> },
];

function deleteColumn(path: string, onDeleted: () => void): Column<Document> {
  async function remove(document: Document) {
    const agreed = await ask(`Delete ${document.title}?`, "The next run will not use it.", "Delete");
    if (!agreed) return;
    try {
      await api.delete(`${path}/${encodeURIComponent(document.id)}`);
      toast(`${document.title} deleted`);
      onDeleted();
    } catch (error) {
      toast(asApiError(error).message, "bad");
    }
  }
  return {
    id: "delete",
    label: "Delete",
    numeric: true,
    cell: (document) => (
      <Button small kind="quiet" icon="trash" aria-label={`Delete ${document.title}`} onClick={() => remove(document)} />
    ),
  };
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${Math.round(bytes / 1024)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
