import { useEffect } from "preact/hooks";
import { createStore, useStore } from "../store.ts";
import { Icon } from "./icons.tsx";

interface Toast {
  text: string;
  tone: "good" | "bad";
}

const current = createStore<Toast | undefined>(undefined);
const SHOWN_MS = 5000;

/** Shows the result of an action, and announces it to screen readers. */
export function toast(text: string, tone: Toast["tone"] = "good") {
  current.set({ text, tone });
}

/** The message of `toast`; used once in the page. */
export function Toasts() {
  const shown = useStore(current);
  useEffect(() => {
    if (!shown) return;
    const timer = setTimeout(() => current.set(undefined), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [shown]);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown && (
        <p class={`toast ${shown.tone}`}>
          <Icon name={shown.tone === "good" ? "check" : "warning"} />
          {shown.text}
        </p>
      )}
    </div>
  );
}
