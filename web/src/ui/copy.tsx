import { useEffect, useState } from "preact/hooks";
import { Button } from "./button.tsx";
import { toast } from "./toast.tsx";

/** Copies `text`, and confirms it with a message and an icon. */
export function CopyButton({ text, what, label = "Copy" }: { text: string; what: string; label?: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      toast(`${what} copied`);
    } catch {
      toast(`${what} could not be copied. Select it and copy it manually.`, "bad");
    }
  }
  return (
    <Button small icon={copied ? "check" : "copy"} onClick={copy} aria-label={`Copy ${what}`}>
      {label}
    </Button>
  );
}

/** One line of text with a copy button. */
export function Copyable({ text, what, label }: { text: string; what: string; label: string }) {
  return (
    <div class="copyable">
      <input class="mono" readOnly value={text} aria-label={label} onFocus={(event) => event.currentTarget.select()} />
      <CopyButton text={text} what={what} />
    </div>
  );
}

/** A piece of code with a button that copies it. */
export function CodeBlock({ code, what, label }: { code: string; what: string; label?: string }) {
  return (
    <div class="code-block">
      <div class="code-head">
        <span>{label ?? what}</span>
        <CopyButton text={code} what={what} />
      </div>
      <pre tabIndex={0} role="region" aria-label={label ?? what}>
        <code>{code}</code>
      </pre>
    </div>
  );
}
