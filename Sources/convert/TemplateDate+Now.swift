import Foundation
import Models

extension TemplateDate {
    /// This moment by the local clock.
    static var now: TemplateDate {
        let (calendar, date) = (Calendar(identifier: .gregorian), Date())
        let parts = calendar.dateComponents([.year, .month, .day, .hour, .minute, .second, .weekday], from: date)
        return TemplateDate(
            year: parts.year ?? 0, month: parts.month ?? 1, day: parts.day ?? 1, hour: parts.hour ?? 0, minute: parts.minute ?? 0,
            second: parts.second ?? 0, weekday: (parts.weekday ?? 1) - 1,
            dayOfYear: calendar.ordinality(of: .day, in: .year, for: date) ?? 1)
    }
}
