// A table whose last column is a bar chart. The numbers are its accessible text.
import type { ComponentChildren, VNode } from "preact";

export type BarRow = { label: ComponentChildren; value: number; text: string };

/** All bars have one scale, from 0 to the largest value. */
export function BarTable({ caption, rows, tone }: { caption: string; rows: BarRow[]; tone: "plain" | "bad" }): VNode {
  const most = Math.max(...rows.map((row) => row.value), 0);
  return (
    <table class="bar-table">
      <caption class="unseen">{caption}</caption>
      <tbody>
        {rows.map((row, index) => (
          <tr key={index}>
            <th scope="row">{row.label}</th>
            <td class="number">{row.text}</td>
            <td class="bar-cell"><Bar share={most > 0 ? row.value / most : 0} tone={tone} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Bar({ share, tone }: { share: number; tone: "plain" | "bad" }): VNode {
  return (
    <svg class="bar-svg" width="100%" height="10" aria-hidden="true" focusable="false">
      <rect class="bar-track" width="100%" height="10" rx="2" />
      {share > 0 && <rect class={`bar-${tone}`} width={`${Math.max(share * 100, 0.8)}%`} height="10" rx="2" />}
    </svg>
  );
}
