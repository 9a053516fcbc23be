// Values as a table whose last column is a bar: the figures are the chart's text.
import type { ComponentChildren, VNode } from "preact";

export type BarRow = { label: ComponentChildren; value: number; text: string };

/** `rows` with bars on one scale, from 0 to the largest. */
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
