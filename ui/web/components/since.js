export { default } from "relative_time";
