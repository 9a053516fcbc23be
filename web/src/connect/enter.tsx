import type { ComponentChildren } from "preact";

/** Fields of a dialog inside another form, which Enter must not submit. */
export function Enter({ onEnter, children }: { onEnter: () => void; children: ComponentChildren }) {
  function onKeyDown(event: KeyboardEvent) {
    if (event.key !== "Enter" || !(event.target instanceof HTMLInputElement)) return;
    event.preventDefault();
    onEnter();
  }
  return (
    <div class="stack" onKeyDown={onKeyDown}>
      {children}
    </div>
  );
}
