// Empty, error and loading states, notes and badges.
import type { ComponentChildren } from "preact";
import type { ApiError } from "../api.ts";
import { Button } from "./button.tsx";
import { Icon, type IconName } from "./icons.tsx";

interface EmptyProps {
  icon?: IconName;
  title: string;
  /** What to do about it. */
  children?: ComponentChildren;
  actions?: ComponentChildren;
}

export function EmptyState({ icon = "inbox", title, children, actions }: EmptyProps) {
  return (
    <div class="empty">
      <span class="empty-icon">
        <Icon name={icon} />
      </span>
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {actions && <div class="empty-actions">{actions}</div>}
    </div>
  );
}

/** An error in place of the content, with a retry button and the reference for the log. */
export function ErrorState({ error, title, retry }: { error: ApiError; title?: string; retry?: () => void }) {
  return (
    <div class="empty error-state" role="alert">
      <span class="empty-icon bad">
        <Icon name="warning" />
      </span>
      <h2>{title ?? "This could not be loaded"}</h2>
      <p>{error.message}</p>
      <Reference error={error} />
      {retry && (
        <div class="empty-actions">
          <Button onClick={retry} icon="rotate">
            Try again
          </Button>
        </div>
      )}
    </div>
  );
}

/** An error beside the content that it belongs to. */
export function ErrorNote({ error }: { error: ApiError }) {
  return (
    <div class="note bad" role="alert">
      <Icon name="warning" />
      <div>
        <p>{error.message}</p>
        <Reference error={error} />
      </div>
    </div>
  );
}

function Reference({ error }: { error: ApiError }) {
  if (!error.reference) return null;
  return (
    <p class="hint">
      Reference <code>{error.reference}</code>. Search the server’s log for it.
    </p>
  );
}

export function Note({ tone = "plain", children }: { tone?: "plain" | "warn" | "good"; children: ComponentChildren }) {
  return (
    <div class={`note ${tone}`}>
      {tone === "warn" && <Icon name="warning" />}
      {tone === "good" && <Icon name="check" />}
      <div>{children}</div>
    </div>
  );
}

/** Grey placeholder lines with the height of the expected text. */
export function Skeleton({ lines = 3, height }: { lines?: number; height?: number }) {
  return (
    <div class="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, at) => (
        <span key={at} class="skeleton-line" style={height ? { height: `${height}px` } : undefined} />
      ))}
    </div>
  );
}

export type Tone = "good" | "bad" | "busy" | "wait" | "plain";

export function Badge({ tone = "plain", children }: { tone?: Tone; children: ComponentChildren }) {
  return (
    <span class={`badge ${tone}`}>
      <span class="badge-dot" aria-hidden="true" />
      {children}
    </span>
  );
}
