import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { createStore, useStore } from "../store.ts";
import { Button } from "./button.tsx";

interface DialogProps {
  title: string;
  /** For forms and lists. */
  wide?: boolean;
  onClose: () => void;
  children: ComponentChildren;
}

/** A modal dialog. The browser keeps the focus inside; closing returns the focus to its previous element. */
export function Dialog({ title, wide, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const element = dialog.current;
    const before = document.activeElement;
    element?.showModal();
    return () => {
      element?.close();
      if (before instanceof HTMLElement) before.focus({ preventScroll: true });
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={wide ? "dialog wide" : "dialog"}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div class="dialog-body">
        <h2 id={id}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

interface Question {
  title: string;
  text: string;
  yes: string;
  no: string;
  answer: (yes: boolean) => void;
}

const question = createStore<Question | undefined>(undefined);

/** Asks in a dialog; returns whether the user confirmed. */
export function ask(title: string, text: string, yes: string, no = "Cancel"): Promise<boolean> {
  return new Promise((resolve) => {
    const answer = (confirmed: boolean) => {
      question.set(undefined);
      resolve(confirmed);
    };
    question.set({ title, text, yes, no, answer });
  });
}

/** The dialog of `ask`; used once in the page. */
export function Questions() {
  const asked = useStore(question);
  if (!asked) return null;
  return (
    <Dialog title={asked.title} onClose={() => asked.answer(false)}>
      <p>{asked.text}</p>
      <div class="dialog-actions">
        <Button onClick={() => asked.answer(false)}>{asked.no}</Button>
        <Button kind="danger" onClick={() => asked.answer(true)}>
          {asked.yes}
        </Button>
      </div>
    </Dialog>
  );
}
