import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { createStore, useStore } from "../store.ts";
import { Button } from "./button.tsx";

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}

/** Over the page until it is closed; the browser keeps the focus in it and gives it back. */
export function Dialog({ title, onClose, children }: DialogProps) {
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
      class="dialog"
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

/** Asks in a dialog; the answer is whether it was agreed to. */
export function ask(title: string, text: string, yes: string, no = "Cancel"): Promise<boolean> {
  return new Promise((resolve) => {
    const answer = (agreed: boolean) => {
      question.set(undefined);
      resolve(agreed);
    };
    question.set({ title, text, yes, no, answer });
  });
}

/** Where questions are asked; once in the page. */
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
