/* Licences of the bundled packages: /console/assets/licences-6BD730FA.txt */
import{v as i}from"./chunk-QJGIO3UQ.js";function s({label:t,views:o,view:r,onView:w}){return i("div",{class:"view-switch",role:"group","aria-label":t,children:o.map(([e,n])=>i("button",{type:"button","aria-pressed":e===r,onClick:()=>w(e),children:n},e))})}export{s as a};
