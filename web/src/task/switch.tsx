import type { VNode } from "preact";

interface ViewSwitchProps<View extends string> {
  label: string;
  views: readonly (readonly [View, string])[];
  view: View;
  onView: (view: View) => void;
}

/** Buttons that select one of several views. */
export function ViewSwitch<View extends string>({ label, views, view, onView }: ViewSwitchProps<View>): VNode {
  return (
    <div class="view-switch" role="group" aria-label={label}>
      {views.map(([name, text]) => (
        <button key={name} type="button" aria-pressed={name === view} onClick={() => onView(name)}>{text}</button>
      ))}
    </div>
  );
}
